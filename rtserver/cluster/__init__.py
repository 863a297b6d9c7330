"""A node among others: its slot, its announcements, connections passed to it and on, and the drain.

Rule: nodes of one machine meet in the run directory, machines meet in Redis; neither holds
sessions, for a sid says where its session is.
"""
