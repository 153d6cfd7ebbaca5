"""How calls sound: speech through the packet path on a virtual clock, judged by PESQ and STOI."""
