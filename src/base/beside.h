/* beside.h: the files that belong to the library this code is in: installed, or in the folder of a build. */
#ifndef BASE_BESIDE_H
#define BASE_BESIDE_H

/* The path of a file, for the caller to free: FOLDER/installed, if it is there, else FOLDER/built, if that is there,
 * else `otherwise`, which may not be there. FOLDER is that of the file that holds this code. */
char *file_beside(const char *installed, const char *built, const char *otherwise);

#endif
