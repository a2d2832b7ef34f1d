/*++
/* NAME
/*	icu 3
/* SUMMARY
/*	bindings of libicuuc that convert domain names
/* DESCRIPTION
/*	UTS #46 conversion between the UTF-8 form and the ASCII form of a
/*	domain name, with the library that Postfix is linked with. Each
/*	release of ICU implements one release of Unicode, so other releases
/*	convert some names in another way.
/*
/*	The names of the functions end in the major release, which is also
/*	the suffix of the library: uidna_openUTS46_72 in libicuuc.so.72. A
/*	library that was built without renaming has the plain names.
/*
/*	Node.js contains another ICU and exports its symbols. The library
/*	is loaded with RTLD_DEEPBIND; otherwise it would call functions of
/*	Node.js. Its data are in a shared library that libicuuc depends on:
/*	after it is loaded, no file is opened.
/* SEE ALSO
/*	dlopen(3), unicode/uidna.h
/*	https://unicode.org/reports/tr46/
/*--*/

import {addon as koffi} from './libc/addon.ts';
import {type Address, allocate} from './libc/libc.ts';

type Call = ReturnType<ReturnType<typeof koffi.load>['func']>;

const calls = {
	uidna_openUTS46: 'void *uidna_openUTS46(uint32_t options, void *pErrorCode)',
	uidna_nameToASCII_UTF8:
		'int32_t uidna_nameToASCII_UTF8(const void *idna, const void *name, int32_t length, void *dest, int32_t capacity, void *pInfo, void *pErrorCode)',
	uidna_nameToUnicodeUTF8:
		'int32_t uidna_nameToUnicodeUTF8(const void *idna, const void *name, int32_t length, void *dest, int32_t capacity, void *pInfo, void *pErrorCode)',
	u_errorName: 'const char *u_errorName(int32_t code)',
} as const;

/* Options. Source: unicode/uidna.h. */
export const UIDNA_NONTRANSITIONAL_TO_ASCII = 0x10;
export const UIDNA_NONTRANSITIONAL_TO_UNICODE = 0x20;

/** The result of uidna_openUTS46(). It is never closed. */
export interface Uts46 {
	readonly idna: Address | null;
	/** UErrorCode. */
	readonly code: number;
}

/** The outcome of a conversion. */
export interface Converted {
	/** The name, one character per byte; valid only without errors. */
	readonly text: string;
	/** Bits of UIDNAInfo. */
	readonly errors: number;
	/** UErrorCode. */
	readonly code: number;
}

/** A loaded library. */
export class Icu {
	/** The major release. */
	readonly release: number;
	readonly #calls: Readonly<Record<keyof typeof calls, Call>>;

	/**
	 * Loads a library.
	 *
	 * @param name - such as `libicuuc.so.72`.
	 * @throws {Error} if the library cannot be loaded, or lacks a function.
	 */
	constructor(name: string) {
		const [, suffix = ''] = /\.so\.(\d+)/.exec(name) ?? [];
		const library = koffi.load(name, {deep: true});
		this.release = Number(suffix);
		this.#calls = Object.fromEntries(
			Object.entries(calls).map(([call, prototype]) => [call, bind(library, call, prototype, suffix)]),
		) as Record<keyof typeof calls, Call>;
	}

	/** The value of UIDNA_DEFAULT in a program that was compiled with this release. Source: unicode/uidna.h. */
	get UIDNA_DEFAULT(): number {
		return this.release < NONTRANSITIONAL_DEFAULT
			? 0
			: UIDNA_NONTRANSITIONAL_TO_ASCII | UIDNA_NONTRANSITIONAL_TO_UNICODE;
	}

	uidna_openUTS46(options: number): Uts46 {
		error.view.setInt32(0, 0, true);
		const idna = this.#calls.uidna_openUTS46(options, error.address) as Address | null;
		return {idna, code: error.view.getInt32(0, true)};
	}

	uidna_nameToASCII_UTF8(converter: Uts46, name: Uint8Array): Converted {
		return convert(this.#calls.uidna_nameToASCII_UTF8, converter, name);
	}

	uidna_nameToUnicodeUTF8(converter: Uts46, name: Uint8Array): Converted {
		return convert(this.#calls.uidna_nameToUnicodeUTF8, converter, name);
	}

	u_errorName(code: number): string {
		return String(this.#calls.u_errorName(code));
	}
}

/** Whether a UErrorCode is an error: negative ones are warnings. Source: unicode/utypes.h. */
export function U_FAILURE(code: number): boolean {
	return code > 0;
}

/* First release in which UIDNA_DEFAULT is not transitional. */
const NONTRANSITIONAL_DEFAULT = 76;

function bind(library: ReturnType<typeof koffi.load>, name: string, prototype: string, suffix: string): Call {
	try {
		return library.func(prototype.replace(`${name}(`, `${name}_${suffix}(`));
	} catch {
		return library.func(prototype);
	}
}

/* Source: midna_domain_to_ascii_create(), postfix src/util/midna_domain.c. */
const CAPACITY = 1023;
const output = allocate(CAPACITY);
const outputText = Buffer.from(output.bytes.buffer, output.bytes.byteOffset, output.bytes.length);
const error = allocate(4);

/* UIDNAInfo: its size, two bytes of flags, the errors, and reserved bytes. Source: unicode/uidna.h. */
const INFO_SIZE = 16;
const ERRORS_OFFSET = 4;
const info = allocate(INFO_SIZE);
info.view.setInt16(0, INFO_SIZE, true);

/* After an error of uidna_openUTS46(), the library does nothing and returns the error again. */
function convert(call: Call, {idna, code}: Uts46, name: Uint8Array): Converted {
	error.view.setInt32(0, code, true);
	info.view.setUint32(ERRORS_OFFSET, 0, true);
	const length = call(idna, name, name.length, output.address, CAPACITY, info.address, error.address);
	return {
		text: outputText.toString('latin1', 0, Math.min(Math.max(length, 0), CAPACITY)),
		errors: info.view.getUint32(ERRORS_OFFSET, true),
		code: error.view.getInt32(0, true),
	};
}
