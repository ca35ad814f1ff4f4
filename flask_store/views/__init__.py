"""How stored files look: listings, sums, tables and previews."""
