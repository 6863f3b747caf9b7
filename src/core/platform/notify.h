/* A file descriptor that an event loop watches, and that any thread can make ready. */
#pragma once

/* Returns a descriptor, or -1 with errno. close() ends it. */
int owngil_notify_open(void);

/* Makes it ready. Never blocks. */
void owngil_notify_ring(int fd);

/* It is not ready any more, until it is rung again. Never blocks. */
void owngil_notify_silence(int fd);
