"""Features: extracted or taken over from others, stored by what determines them, read aligned to labels."""
