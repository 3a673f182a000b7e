"""What the commands print for people: plain, well laid out, readable without colour."""
