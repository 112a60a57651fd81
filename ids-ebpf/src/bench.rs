//! Programs for `bench-kernel` alone; the agent never loads them.
