"""The page on which a person looks at the answers and corrects them."""
