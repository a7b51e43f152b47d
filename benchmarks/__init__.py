"""Speed, scale and quality of NescordBot beside yardsticks, measured in one run."""
