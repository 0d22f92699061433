"""Looking into compiled models and changing how they are compiled: reports, exports, passes tried one by one."""
