"""What may be typed, and where.

text            the characters of a secret
target          the window with the focus
password_field  only into password fields
"""
