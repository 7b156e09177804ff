/* SPDX-License-Identifier: MIT */
/* What state files of this architecture say it is. Constant. */
#include <elf.h>

#include "save/state_file.h"

const uint32_t state_file_machine = EM_X86_64;
