/*++
/* NAME
/*	elf 3
/* SUMMARY
/*	list the shared libraries that an executable file needs
/* DESCRIPTION
/*	Reads the dynamic section of a 64-bit ELF file. The dynamic loader
/*	is not used, so no code of the file is executed. The list is empty
/*	if the file is not an ELF file, is damaged, or cannot be read.
/* SEE ALSO
/*	elf(5)
/*--*/

import {readFileSync} from 'node:fs';

/* Source: elf.h. */
const MAGIC = 0x7f_45_4c_46;
const ELFCLASS64 = 2;
const ELFDATA2LSB = 1;
const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const DT_NULL = 0;
const DT_NEEDED = 1;
const DT_STRTAB = 5;

/** A part of the file that the loader maps into memory. */
interface Segment {
	readonly type: number;
	readonly offset: number;
	readonly address: number;
	readonly size: number;
}

/** The names of the shared libraries that a file needs (DT_NEEDED). */
export function neededLibraries(path: string): readonly string[] {
	try {
		return parse(readFileSync(path));
	} catch {
		/* The file cannot be read, or contains an offset that is outside of the file. */
		return [];
	}
}

function parse(file: Buffer): readonly string[] {
	if (file.readUInt32BE(0) !== MAGIC || file[4] !== ELFCLASS64 || file[5] !== ELFDATA2LSB) {
		return [];
	}

	const segments = segmentsOf(file);
	const dynamic = segments.find(({type}) => type === PT_DYNAMIC);
	if (dynamic === undefined) {
		return [];
	}

	const needed: number[] = [];
	let strings = 0;
	const ENTRY_SIZE = 16;
	const end = dynamic.offset + dynamic.size;
	for (let at = dynamic.offset; at + ENTRY_SIZE <= end; at += ENTRY_SIZE) {
		const tag = number64(file, at);
		const value = number64(file, at + 8);
		if (tag === DT_NULL) {
			break;
		}

		if (tag === DT_NEEDED) {
			needed.push(value);
		} else if (tag === DT_STRTAB) {
			strings = value;
		}
	}

	const stringTable = offsetOf(segments, strings);
	return stringTable === undefined ? [] : needed.map(offset => textAt(file, stringTable + offset));
}

function segmentsOf(file: Buffer): readonly Segment[] {
	const start = number64(file, 32);
	const entrySize = file.readUInt16LE(54);
	const count = file.readUInt16LE(56);
	return Array.from({length: count}, (_, index) => {
		const at = start + index * entrySize;
		return {
			type: file.readUInt32LE(at),
			offset: number64(file, at + 8),
			address: number64(file, at + 16),
			size: number64(file, at + 32),
		};
	});
}

/* Converts an address in memory to an offset in the file. */
function offsetOf(segments: readonly Segment[], address: number): number | undefined {
	const segment = segments.find(
		candidate =>
			candidate.type === PT_LOAD &&
			address >= candidate.address &&
			address < candidate.address + candidate.size,
	);
	return segment === undefined ? undefined : segment.offset + address - segment.address;
}

function number64(file: Buffer, at: number): number {
	return Number(file.readBigUInt64LE(at));
}

function textAt(file: Buffer, at: number): string {
	return file.toString('latin1', at, file.indexOf(0, at));
}
