"""An engine without a GPU: memory, step time and scheduling of vLLM, from a catalogue of hardware and models."""
