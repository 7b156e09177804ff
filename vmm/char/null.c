/* SPDX-License-Identifier: MIT */
/* Output goes nowhere, input never comes. */
#include "char/backend.h"

const struct chardev_backend_ops null_backend = {
	.name = "null",
	.swallows = true,
};
