"""What this package uses of the standard library as it is before a library of greenlets replaces it.

To be imported before `monkey.patch_all`: a child of greenlets must be able to give signs of life while one of its tasks keeps
all the others waiting.
"""
from _thread import allocate_lock, start_new_thread
from socket import socket
from time import sleep

__all__ = ("allocate_lock", "sleep", "socket", "start_new_thread")
