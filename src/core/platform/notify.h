/* A file descriptor that an event loop watches and any thread can make readable. */
#pragma once

/* Returns a descriptor for close(), or -1 with errno. */
int owngil_notify_open(void);

/* Makes the descriptor readable. Never blocks. */
void owngil_notify_ring(int fd);

/* Makes the descriptor unreadable until the next ring. Never blocks. */
void owngil_notify_silence(int fd);
