"""Audio arithmetic: G.711 tables, tones, levels."""
