"""Labels as Praat writes them, in its long and in its short form: a dog, a cat and a tier without points."""

LONG_GRID = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0 
xmax = 4 
tiers? <exists> 
size = 2 
item []: 
    item [1]:
        class = "IntervalTier" 
        name = "who" 
        xmin = 0 
        xmax = 4 
        intervals: size = 3 
        intervals [1]:
            xmin = 0 
            xmax = 0.5 
            text = "" 
        intervals [2]:
            xmin = 0.5 
            xmax = 2 
            text = "dog" 
        intervals [3]:
            xmin = 2 
            xmax = 4 
            text = "the ""old"" cat 7" 
    item [2]:
        class = "TextTier" 
        name = "nothing" 
        xmin = 0 
        xmax = 4 
        points: size = 0 
"""  # noqa: W291 as Praat has it
SHORT_GRID = """File type = "ooTextFile"
"TextGrid"

0 ! the start
4
<exists>
1
"IntervalTier"
"who"
0
4
3
0
0.5
""
0.5
2
"dog"
2
4
"the ""old"" cat 7"
"""
