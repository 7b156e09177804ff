/* SPDX-License-Identifier: MIT */
/*
 * What the x86_64 machine has that no bus can enumerate. Fixed: every number
 * that depends on the configuration is read from INFO, which boot/acpi_x86.c
 * fills (struct acpi_info). Addresses are those of layout_x86.h.
 */
DefinitionBlock ("dsdt.aml", "DSDT", 2, "MOTE", "MOTEDSDT", 1)
{
    External (\_SB.CTFY, MethodObj)
    External (\_SB.MTFY, MethodObj)
    External (\_SB.SLT0, MethodObj)
    External (\_SB.SLT1, MethodObj)
    External (\_SB.SLT2, MethodObj)
    External (\_SB.SLT3, MethodObj)
    External (\_SB.SLT4, MethodObj)
    External (\_SB.SLT5, MethodObj)
    External (\_SB.SLT6, MethodObj)
    External (\_SB.SLT7, MethodObj)
    External (\_SB.SLT8, MethodObj)
    External (\_SB.SLT9, MethodObj)
    External (\_SB.SLTA, MethodObj)
    External (\_SB.SLTB, MethodObj)
    External (\_SB.SLTC, MethodObj)
    External (\_SB.SLTD, MethodObj)
    External (\_SB.SLTE, MethodObj)
    External (\_SB.SLTF, MethodObj)

    OperationRegion (INFO, SystemMemory, 0xe0100, 0x40)
    Field (INFO, DWordAcc, NoLock, Preserve)
    {
        ROOT, 32,       // bit n: root bus pcie.n is there
        M32B, 32,       // 32-bit window of bus 0
        M32L, 32,       // length of each bus's part
        DEVS, 32,       // bit 0: COM1, bit 1: pvpanic
        M64B, 64,       // 64-bit window of bus 0
        M64L, 64,       // length of each bus's part
        BTAB, 32,       // the table of bus 0's slots (pci_bus.asl)
        BTAL, 32,       // its length, and how far the next bus's is
    }

    Name (_S5, Package () { 5, 5, 0, 0 })

    Scope (_SB)
    {
        // PCI Firmware 3.2, 4.5.1: everything but native hot-plug is granted.
        Method (POSC, 4, NotSerialized)
        {
            CreateDWordField (Arg3, 0, CDW1)
            If (LNotEqual (Arg0, ToUUID ("33db4d5b-1ff7-401c-9657-7441c03dd766")))
            {
                Or (CDW1, 4, CDW1)
                Return (Arg3)
            }
            CreateDWordField (Arg3, 8, CDW3)
            Store (CDW3, Local0)
            And (Local0, 0x1c, Local0)
            If (LNotEqual (Local0, CDW3))
            {
                Or (CDW1, 0x10, CDW1)
            }
            Store (Local0, CDW3)
            Return (Arg3)
        }

        // The resources of root bus Arg0: its bus number and its windows.
        Method (PCRS, 1, Serialized)
        {
            Name (BUF, ResourceTemplate ()
            {
                WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode,
                    0, 0, 0, 0, 1, , , BUS)
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed,
                    NonCacheable, ReadWrite, 0, 0, 0, 0, 1, , , MEM)
                QWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed,
                    Cacheable, ReadWrite, 0, 0, 0, 0, 1, , , HIGH)
            })
            CreateWordField (BUF, BUS._MIN, BMIN)
            CreateWordField (BUF, BUS._MAX, BMAX)
            CreateDWordField (BUF, MEM._MIN, LMIN)
            CreateDWordField (BUF, MEM._MAX, LMAX)
            CreateDWordField (BUF, MEM._LEN, LLEN)
            CreateQWordField (BUF, HIGH._MIN, HMIN)
            CreateQWordField (BUF, HIGH._MAX, HMAX)
            CreateQWordField (BUF, HIGH._LEN, HLEN)
            Store (Arg0, BMIN)
            Store (Arg0, BMAX)
            Add (M32B, Multiply (Arg0, M32L), LMIN)
            Store (M32L, LLEN)
            Subtract (Add (LMIN, LLEN), 1, LMAX)
            Add (M64B, Multiply (Arg0, M64L), HMIN)
            Store (M64L, HLEN)
            Subtract (Add (HMIN, HLEN), 1, HMAX)
            Return (BUF)
        }

        // Functions use INTA only; slot n is on GSI 16 + n % 4.
#define ROUTE(slot, gsi) Package () { slot, 0, 0, gsi },
#define ROUTE4(a, b, c, d) ROUTE(a, 16) ROUTE(b, 17) ROUTE(c, 18) ROUTE(d, 19)
        Name (PRTA, Package ()
        {
            ROUTE4(0x0000ffff, 0x0001ffff, 0x0002ffff, 0x0003ffff)
            ROUTE4(0x0004ffff, 0x0005ffff, 0x0006ffff, 0x0007ffff)
            ROUTE4(0x0008ffff, 0x0009ffff, 0x000affff, 0x000bffff)
            ROUTE4(0x000cffff, 0x000dffff, 0x000effff, 0x000fffff)
            ROUTE4(0x0010ffff, 0x0011ffff, 0x0012ffff, 0x0013ffff)
            ROUTE4(0x0014ffff, 0x0015ffff, 0x0016ffff, 0x0017ffff)
            ROUTE4(0x0018ffff, 0x0019ffff, 0x001affff, 0x001bffff)
            ROUTE4(0x001cffff, 0x001dffff, 0x001effff, 0x001fffff)
        })

#define ROOT_BUS(name, number)                                              \
        Device (name)                                                       \
        {                                                                   \
            Name (_HID, EisaId ("PNP0A08"))                                 \
            Name (_CID, EisaId ("PNP0A03"))                                 \
            Name (_UID, number)                                             \
            Name (_SEG, 0)                                                  \
            Name (_BBN, number)                                             \
            Method (_STA)                                                   \
            {                                                               \
                If (And (ROOT, ShiftLeft (1, number))) { Return (0x0f) }    \
                Return (0)                                                  \
            }                                                               \
            Method (_CRS) { Return (PCRS (number)) }                        \
            Method (_PRT) { Return (PRTA) }                                 \
            Method (_OSC, 4) { Return (POSC (Arg0, Arg1, Arg2, Arg3)) }     \
        }
        ROOT_BUS(PCI0, 0)
        ROOT_BUS(PCI1, 1)
        ROOT_BUS(PCI2, 2)
        ROOT_BUS(PCI3, 3)
        ROOT_BUS(PCI4, 4)
        ROOT_BUS(PCI5, 5)
        ROOT_BUS(PCI6, 6)
        ROOT_BUS(PCI7, 7)
        ROOT_BUS(PCI8, 8)
        ROOT_BUS(PCI9, 9)
        ROOT_BUS(PCIA, 10)
        ROOT_BUS(PCIB, 11)
        ROOT_BUS(PCIC, 12)
        ROOT_BUS(PCID, 13)
        ROOT_BUS(PCIE, 14)
        ROOT_BUS(PCIF, 15)

        Device (PWRB)
        {
            Name (_HID, EisaId ("PNP0C0C"))
        }

        // The VM generation ID: its address, low and high half. Systems look
        // for it under one of these names.
        Device (VGEN)
        {
            Name (_HID, "MOTE0001")
            Name (_CID, Package () { "VM_Gen_Counter", "VMGENCTR", "VM_GEN_COUNTER" })
            Name (_DDN, "VM_Gen_Counter")
            Name (ADDR, Package () { 0xe0200, 0 })
        }

        // ACPI 6.4, 5.6.9: reading EVTS gives the pending events and clears them.
        Device (GED)
        {
            Name (_HID, "ACPI0013")
            Name (_UID, 0)
            Name (_CRS, ResourceTemplate ()
            {
                Interrupt (ResourceConsumer, Level, ActiveHigh, Exclusive) { 9 }
            })
            OperationRegion (REGS, SystemMemory, 0xfed00000, 4)
            Field (REGS, DWordAcc, NoLock, WriteAsZeros) { EVTS, 32 }
            Method (_EVT, 1, Serialized)
            {
                Store (EVTS, Local0)
                If (And (Local0, 1)) { Notify (PWRB, 0x80) }
                If (And (Local0, 2)) { PHPE () }
                If (And (Local0, 4)) { Notify (VGEN, 0x80) }
                If (And (Local0, 8)) { CPEV () }
                If (And (Local0, 0x10)) { MPEV () }
            }
        }

        // PCI hot-plug: platform/pci_hotplug.h has the registers.
        OperationRegion (PHPR, SystemMemory, 0xfed00100, 0x14)
        Field (PHPR, DWordAcc, NoLock, WriteAsZeros)
        {
            PHBU, 32,       // root buses with news
            PHSE, 32,       // the root bus that the next two are about
            PHAD, 32,       // slots that have got a device
            PHRM, 32,       // slots that are to let theirs go
            PHDO, 32,       // bus << 8 | slot: it has
        }

        Method (PHEJ, 2, Serialized) { Store (Or (ShiftLeft (Arg0, 8), Arg1), PHDO) }

        // Called by _EVT only, one at a time.
        Method (PHPE, 0, Serialized)
        {
            Store (PHBU, Local0)
            Store (0, Local1)
            While (Local0)
            {
                If (And (Local0, 1)) { PHPB (Local1) }
                ShiftRight (Local0, 1, Local0)
                Increment (Local1)
            }
        }

        // A bus that was not there: its slots, then a bus check, with which
        // the system finds all that is in them. Else each slot is told.
#define TELL_BUS(name, number, tell)                                        \
            If (LEqual (Arg0, number))                                      \
            {                                                               \
                If (LNot (And (ROOT, 1 << number)))                         \
                {                                                           \
                    Or (ROOT, 1 << number, ROOT)                            \
                    Load (BUST, Local4)                                     \
                    Notify (name, 0)                                        \
                }                                                           \
                Else { tell (Local0, Local1) }                             \
            }
        Method (PHPB, 1, Serialized)
        {
            OperationRegion (BUST, SystemMemory, Add (BTAB, Multiply (BTAL, Arg0)), BTAL)
            Store (Arg0, PHSE)
            Store (PHAD, Local0)
            Store (PHRM, Local1)
            TELL_BUS(PCI0, 0, SLT0)
            TELL_BUS(PCI1, 1, SLT1)
            TELL_BUS(PCI2, 2, SLT2)
            TELL_BUS(PCI3, 3, SLT3)
            TELL_BUS(PCI4, 4, SLT4)
            TELL_BUS(PCI5, 5, SLT5)
            TELL_BUS(PCI6, 6, SLT6)
            TELL_BUS(PCI7, 7, SLT7)
            TELL_BUS(PCI8, 8, SLT8)
            TELL_BUS(PCI9, 9, SLT9)
            TELL_BUS(PCIA, 10, SLTA)
            TELL_BUS(PCIB, 11, SLTB)
            TELL_BUS(PCIC, 12, SLTC)
            TELL_BUS(PCID, 13, SLTD)
            TELL_BUS(PCIE, 14, SLTE)
            TELL_BUS(PCIF, 15, SLTF)
        }

        // vCPU hot-plug: platform/hotplug.h has the registers, and
        // acpi_cpus_x86.c makes the devices and CTFY where there is a max.
        OperationRegion (CHPR, SystemMemory, 0xfed00200, 0x18)
        Field (CHPR, DWordAcc, NoLock, WriteAsZeros)
        {
            CNEW, 32,       // what << 8 | vCPU
            CSEL, 32,       // the vCPU that the next is about
            CPRS, 32,       // it is there
            CGON, 32,       // this one has been let go
            CSRC, 32,       // what is reported about
            COUT, 32,       // how it went
        }

        Method (CSTA, 1, Serialized)
        {
            Store (Arg0, CSEL)
            If (CPRS) { Return (0x0f) }
            Return (0)
        }

        Method (CEJ0, 2, Serialized) { Store (Arg0, CGON) }

        Method (COST, 4, Serialized)
        {
            Store (Arg0, CSEL)
            Store (Arg1, CSRC)
            Store (Arg2, COUT)
        }

        Method (CPEV, 0, Serialized)
        {
            Store (CNEW, Local0)
            While (LNotEqual (Local0, 0xffffffff))
            {
                CTFY (And (Local0, 0xff), ShiftRight (Local0, 8))
                Store (CNEW, Local0)
            }
        }

        // DIMMs: platform/hotplug.h has the registers, and acpi_dimms.c makes
        // the devices and MTFY where there are slots.
        OperationRegion (MHPR, SystemMemory, 0xfed00300, 0x28)
        Field (MHPR, DWordAcc, NoLock, WriteAsZeros)
        {
            MNEW, 32,       // what << 8 | slot
            MSEL, 32,       // the slot that the next are about
            MPRS, 32,       // there is a DIMM in it
            MGON, 32,       // this slot's has been let go
            MBAS, 64,       // where it is
            MLEN, 64,       // its length
            MSRC, 32,       // what is reported about
            MOUT, 32,       // how it went
        }

        Method (MSTA, 1, Serialized)
        {
            Store (Arg0, MSEL)
            If (MPRS) { Return (0x0f) }
            Return (0)
        }

        Method (MCRS, 1, Serialized)
        {
            Name (BUF, ResourceTemplate ()
            {
                QWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed,
                    Cacheable, ReadWrite, 0, 0, 0, 0, 1, , , DIMM)
            })
            CreateQWordField (BUF, DIMM._MIN, BASE)
            CreateQWordField (BUF, DIMM._MAX, LAST)
            CreateQWordField (BUF, DIMM._LEN, SIZE)
            Store (Arg0, MSEL)
            Store (MBAS, BASE)
            Store (MLEN, SIZE)
            Subtract (Add (BASE, SIZE), 1, LAST)
            Return (BUF)
        }

        Method (MEJ0, 2, Serialized) { Store (Arg0, MGON) }

        Method (MOST, 4, Serialized)
        {
            Store (Arg0, MSEL)
            Store (Arg1, MSRC)
            Store (Arg2, MOUT)
        }

        Method (MPEV, 0, Serialized)
        {
            Store (MNEW, Local0)
            While (LNotEqual (Local0, 0xffffffff))
            {
                MTFY (And (Local0, 0xff), ShiftRight (Local0, 8))
                Store (MNEW, Local0)
            }
        }

        Device (COM1)
        {
            Name (_HID, EisaId ("PNP0501"))
            Name (_UID, 0)
            Method (_STA)
            {
                If (And (DEVS, 1)) { Return (0x0f) }
                Return (0)
            }
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x3f8, 0x3f8, 0, 8)
                Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { 4 }
            })
        }

        Device (RTC)
        {
            Name (_HID, EisaId ("PNP0B00"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x70, 0x70, 0, 2)
            })
        }

        Device (PEVT)
        {
            Name (_HID, "QEMU0001")
            Method (_STA)
            {
                If (And (DEVS, 2)) { Return (0x0f) }
                Return (0)
            }
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x505, 0x505, 0, 1)
            })
        }
    }
}
