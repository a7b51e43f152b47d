"""The same work done by NescordBot and by what people would use instead: frame, work list and one adapter a peer."""
