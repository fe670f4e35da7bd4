"""What is kept about phones, and under which key.

store          the paired devices
naming         when two ids or names count as one
activity       how often each was heard
server_keys    this computer's ML-KEM key pair
seeded_key     a key pair from its seed
sealed_file    a file sealed under one key
portal_token   the desktop's permission to type
remembered_sites  the web sites that had a secret before
other_daemon   the existing daemon's files in our folder
import_record  what an import moved and made
sealing/       where the sealing key is kept
"""
