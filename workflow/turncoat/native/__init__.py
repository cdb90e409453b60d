"""Training's inner loops in C, for machines that have a C compiler: the bits are PyTorch's, the time is less."""
