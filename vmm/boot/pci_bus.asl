/* SPDX-License-Identifier: MIT */
/*
 * The hot-plug slots of one root bus, the same for each: boot/acpi_x86.c puts
 * the bus's digit in place of the X in PCIX and SLTX, its number in that of
 * 0xee, and bus * 32 + slot in that of each _SUN. A bus that has a device at
 * boot gets its table then; for another, PHPB in dsdt.asl loads it with the
 * bus's first device, since a system would otherwise make objects for 480 slots
 * that nothing is in.
 */
DefinitionBlock ("pci_bus.aml", "SSDT", 2, "MOTE", "MOTEPCIB", 1)
{
    External (\_SB.PCIX, DeviceObj)
    External (\_SB.PHEJ, MethodObj)

    Scope (\_SB.PCIX)
    {
        Name (BUSN, 0xee)

        // _EJ0 of slot 0 of bus 0, the host bridge, does nothing.
#define SLOT(name, number)                                                  \
        Device (name)                                                       \
        {                                                                   \
            Name (_ADR, number << 16)                                       \
            Name (_SUN, 0x8000 + number)                                    \
            Method (_EJ0, 1) { PHEJ (BUSN, number) }                        \
        }
        SLOT(S00_, 0)
        SLOT(S01_, 1)
        SLOT(S02_, 2)
        SLOT(S03_, 3)
        SLOT(S04_, 4)
        SLOT(S05_, 5)
        SLOT(S06_, 6)
        SLOT(S07_, 7)
        SLOT(S08_, 8)
        SLOT(S09_, 9)
        SLOT(S10_, 10)
        SLOT(S11_, 11)
        SLOT(S12_, 12)
        SLOT(S13_, 13)
        SLOT(S14_, 14)
        SLOT(S15_, 15)
        SLOT(S16_, 16)
        SLOT(S17_, 17)
        SLOT(S18_, 18)
        SLOT(S19_, 19)
        SLOT(S20_, 20)
        SLOT(S21_, 21)
        SLOT(S22_, 22)
        SLOT(S23_, 23)
        SLOT(S24_, 24)
        SLOT(S25_, 25)
        SLOT(S26_, 26)
        SLOT(S27_, 27)
        SLOT(S28_, 28)
        SLOT(S29_, 29)
        SLOT(S30_, 30)
        SLOT(S31_, 31)

        // Arg0: slots that have got a device, Arg1: slots that are to let
        // theirs go (ACPI 6.4, table 5.185: device check, eject request).
#define TELL(name, number)                                                  \
            If (And (Arg1, 1 << number)) { Notify (name, 3) }               \
            If (And (Arg0, 1 << number)) { Notify (name, 1) }
        Method (PHPS, 2, Serialized)
        {
            TELL(S00_, 0)
            TELL(S01_, 1)
            TELL(S02_, 2)
            TELL(S03_, 3)
            TELL(S04_, 4)
            TELL(S05_, 5)
            TELL(S06_, 6)
            TELL(S07_, 7)
            TELL(S08_, 8)
            TELL(S09_, 9)
            TELL(S10_, 10)
            TELL(S11_, 11)
            TELL(S12_, 12)
            TELL(S13_, 13)
            TELL(S14_, 14)
            TELL(S15_, 15)
            TELL(S16_, 16)
            TELL(S17_, 17)
            TELL(S18_, 18)
            TELL(S19_, 19)
            TELL(S20_, 20)
            TELL(S21_, 21)
            TELL(S22_, 22)
            TELL(S23_, 23)
            TELL(S24_, 24)
            TELL(S25_, 25)
            TELL(S26_, 26)
            TELL(S27_, 27)
            TELL(S28_, 28)
            TELL(S29_, 29)
            TELL(S30_, 30)
            TELL(S31_, 31)
        }
    }

    Scope (\_SB)
    {
        Method (SLTX, 2) { \_SB.PCIX.PHPS (Arg0, Arg1) }
    }
}
