"""Where the sealing key is kept.

base               the contract
choose             the one that the settings name
keyfile            an owner-only file
keyring            the keyring of the system, in a child process
keyring_child      that child
passphrase         a file that a passphrase opens
wrapped            a key under a passphrase (Argon2id)
passphrase_source  a file or the terminal
"""
