"""The time model beside published measurements."""
