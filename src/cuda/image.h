/* The compiled kernel, for several architectures; empty in a library that was built without nvcc. */
#ifndef GDN_IMAGE_H
#define GDN_IMAGE_H

#include <stddef.h>

extern const unsigned char gdn_image[];
extern const size_t gdn_image_bytes;

#endif
