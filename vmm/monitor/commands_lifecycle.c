/* SPDX-License-Identifier: MIT */
/* Commands that start, stop and end the VM. Main thread. */
#include "monitor/internal.h"

/* Ending it needs no preparation; it happens once the reply is queued. */
static int nothing(struct vm *vm, struct error *e)
{
	(void)vm;
	(void)e;
	return 0;
}

static void quit(struct session *s)
{
	struct monitor *m = s->monitor;

	m->quit = vm_state(m->vm) != VM_SHUTDOWN;
	vm_end(m->vm, VM_EXIT_QUIT, 0, "quit through the monitor");
}

static void terminate(struct session *s)
{
	vm_end(s->monitor->vm, VM_EXIT_TERMINATED, 1,
	       "terminated through the monitor");
}

static const struct command commands[] = {
	{
		.name = "stop",
		.help = "Pause the VM: no vCPU runs, every device is idle",
		.run_vm = vm_stop,
	}, {
		.name = "cont",
		.help = "Let the VM run, or run on",
		.run_vm = vm_cont,
	}, {
		.name = "system_powerdown",
		.help = "Press the power button",
		.run_vm = vm_powerdown,
	}, {
		.name = "system_reset",
		.help = "Press the reset button",
		.run_vm = vm_reset,
	}, {
		.name = "inject-nmi",
		.help = "Send a non-maskable interrupt to every vCPU",
		.run_vm = vm_inject_nmi,
	}, {
		.name = "quit",
		.help = "End the VM at once, exit status 0",
		.run_vm = nothing,
		.after = quit,
	}, {
		.name = "terminate",
		.help = "End the VM at once, exit status 1",
		.resource = true,
		.run_vm = nothing,
		.after = terminate,
	}, {
		.name = "wait",
		.help = "Wait for the VM's end, [timeout-ms]; the exit report",
		.args = wait_args,
		.resource = true,
		.run = wait_run,
	},
};

const struct command_group lifecycle_commands = {
	commands, sizeof(commands) / sizeof(commands[0]),
};
