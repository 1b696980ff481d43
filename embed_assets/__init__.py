"""Fine-tune an embedding model on a company's own documents, and prove that it is better."""
