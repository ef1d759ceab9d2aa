"""What the experiments share: records, jobs, statistics, and the small fusion benchmark."""
