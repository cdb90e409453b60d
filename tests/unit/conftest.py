"""Unit tests run with the settings of a job's process."""

import torch

torch.set_num_threads(1)
