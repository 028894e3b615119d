"""What only the course needs: figures, exercises and explorers."""
