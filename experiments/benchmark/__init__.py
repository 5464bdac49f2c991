"""What training costs and what each reward buys; every figure is stored, and shown from what is stored."""
