"""Fine-tune an embedding model on a company's own documents, and prove that it is better."""

import os

# Threads of OpenMP that wait for each other spin by default. Where another process has one of the cores, each step of a
# training then takes several times longer; threads that sleep lose little where the machine is quiet. It is read when torch
# is loaded, which is after this.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
