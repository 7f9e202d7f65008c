"""What a configuration may say, checked before anything heavy is imported."""
