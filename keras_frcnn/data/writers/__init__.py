"""Writers of data sets: TFRecords, the YOLO layout, and a data set of drawn shapes."""
