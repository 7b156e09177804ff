/* SPDX-License-Identifier: MIT */
/*
 * What a save has left that died between its memory file's rename and its
 * state's: memory that no state names but the one which never got its place.
 */
#ifndef MOTE_SAVE_UNFINISHED_H
#define MOTE_SAVE_UNFINISHED_H

/*
 * Removes the memory file, NAME.ID, that the unfinished state file names, if it
 * is there, whole, and of that very save. The caller holds the lock of what the
 * save was writing and removes the state after that. Any thread.
 */
void save_unfinished_clear(int dir_fd, const char *state);

#endif
