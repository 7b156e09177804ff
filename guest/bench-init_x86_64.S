/* SPDX-License-Identifier: MIT */
/*
 * The least that an init can be: say so on the console and power off, so that a boot benchmark measures the VMM and the kernel only.
 * With any argument (on the kernel command line behind `--`) it reboots instead, for machines that cannot power off.
 */
	.set SYS_write, 1
	.set SYS_reboot, 169
	.set LINUX_REBOOT_MAGIC1, 0xfee1dead
	.set LINUX_REBOOT_MAGIC2, 672274793
	.set LINUX_REBOOT_CMD_RESTART, 0x1234567
	.set LINUX_REBOOT_CMD_POWER_OFF, 0x4321fedc

	.globl _start
_start:
	mov	$SYS_write, %eax
	mov	$1, %edi
	lea	marker(%rip), %rsi
	mov	$marker_len, %edx
	syscall

	mov	$LINUX_REBOOT_CMD_POWER_OFF, %edx
	mov	$LINUX_REBOOT_CMD_RESTART, %ecx
	cmpq	$1, (%rsp)
	cmova	%ecx, %edx
	mov	$SYS_reboot, %eax
	mov	$LINUX_REBOOT_MAGIC1, %edi
	mov	$LINUX_REBOOT_MAGIC2, %esi
	syscall
1:	pause
	jmp	1b

marker:	.ascii	"MOTE-INIT\n"
	.set	marker_len, . - marker

	.section .note.GNU-stack, "", @progbits
