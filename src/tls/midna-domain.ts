/*++
/* NAME
/*	midna-domain 3
/* SUMMARY
/*	conversion of domain names between ASCII and UTF-8
/* DESCRIPTION
/*	Converts names as Postfix does: with the ICU library that it is
/*	linked with, UTS #46, the default options of that library, and
/*	then valid_hostname(). Results are cached, failures too: a name
/*	that cannot be converted is logged once for as long as it is in the
/*	cache.
/*
/*	A Postfix that is not linked with ICU was built without EAI, and
/*	uses names as they are.
/*
/*	Names have one character per byte, as on the wire.
/* DIAGNOSTICS
/*	Each name that cannot be converted is logged as a warning, in the
/*	words of Postfix.
/* SEE ALSO
/*	icu(3), hostname(3)
/*	postfix src/util/midna_domain.c
/*--*/

import {isUtf8} from 'node:buffer';
import {
	type Converted,
	Icu,
	U_FAILURE,
	UIDNA_NONTRANSITIONAL_TO_ASCII,
	UIDNA_NONTRANSITIONAL_TO_UNICODE,
	type Uts46,
} from '../ffi/icu.ts';
import {warning} from '../log/log.ts';
import {isHostname} from './hostname.ts';

/* The library, and a converter for each direction, made when it is first needed. */
interface Converters {
	readonly icu: Icu;
	readonly toAscii: () => Uts46;
	readonly toUtf8: () => Uts46;
}

let converters: Converters | undefined;

/**
 * Loads the library. From then on names are converted.
 *
 * @param library - such as `libicuuc.so.72`.
 * @param transitional - whether to convert as IDNA2003 does: enable_idna2003_compatibility.
 * @throws {Error} when it cannot be loaded.
 */
export function loadIcu(library: string, transitional: boolean): void {
	const icu = new Icu(library);
	const opened = (options: number) => {
		let made: Uts46 | undefined;
		return () => (made ??= icu.uidna_openUTS46(transitional ? icu.UIDNA_DEFAULT : options));
	};
	converters = {
		icu,
		toAscii: opened(UIDNA_NONTRANSITIONAL_TO_ASCII),
		toUtf8: opened(UIDNA_NONTRANSITIONAL_TO_UNICODE),
	};
	asciiNames.clear();
	utf8Names.clear();
}

/** Has the library load its data, before the jail. Source: midna_domain_pre_chroot(). */
export function prepareIcu(): void {
	const opened = converters?.toAscii();
	if (converters !== undefined && opened !== undefined && U_FAILURE(opened.code)) {
		warning(`ICU library initialization failed: ${converters.icu.u_errorName(opened.code)}`);
	}
}

/** Whether names are converted: Postfix was built with EAI. */
export function hasEai(): boolean {
	return converters !== undefined;
}

/** Whether a text has bytes of ASCII only. Postfix says no of an empty one. Source: allascii(). */
export function isAscii(text: string): boolean {
	// oxlint-disable-next-line no-control-regex
	return /^[\0-\u007F]+$/.test(text);
}

/** The ASCII form of a name; undefined when there is none, or without EAI. Source: midna_domain_to_ascii(). */
export function domainToAscii(name: string): string | undefined {
	return converters === undefined ? undefined : asciiNames.locate(name, toAscii);
}

/** The UTF-8 form of a name; undefined when there is none, or without EAI. Source: midna_domain_to_utf8(). */
export function domainToUtf8(name: string): string | undefined {
	return converters === undefined ? undefined : utf8Names.locate(name, toUtf8);
}

function toAscii(name: string): string | undefined {
	return convert(name, {
		label: 'midna_domain_to_ascii_create',
		form: 'ASCII',
		formOfFailure: 'ASCII',
		run: ({icu, toAscii: converter}, bytes) => icu.uidna_nameToASCII_UTF8(converter(), bytes),
		complaint: converted => (isHostname(converted) ? undefined : 'malformed ASCII label(s)'),
	});
}

function toUtf8(name: string): string | undefined {
	const converted = convert(name, {
		label: 'midna_domain_to_utf8_create',
		form: 'UTF-8',
		formOfFailure: 'UTF8',
		run: ({icu, toUtf8: converter}, bytes) => icu.uidna_nameToUnicodeUTF8(converter(), bytes),
		complaint: () => undefined,
	});
	/* A name that has no ASCII form is too long, or otherwise of no use. */
	return converted === undefined || domainToAscii(converted) === undefined ? undefined : converted;
}

/* One direction: what it is called in the log, and how it is done. */
interface Direction {
	readonly label: string;
	readonly form: string;
	/** The same where the library reports an error: Postfix writes UTF-8 in two ways. */
	readonly formOfFailure: string;
	readonly run: (converters: Converters, bytes: Uint8Array) => Converted;
	/** What is wrong with a result. */
	readonly complaint: (converted: string) => string | undefined;
}

function convert(name: string, {label, form, formOfFailure, run, complaint}: Direction): string | undefined {
	if (converters === undefined) {
		return undefined;
	}

	const fail = (what: string, reason: string): void =>
		warning(`${label}: Problem translating domain "${name.slice(0, 100)}" to ${what} form: ${reason}`);
	const bytes = Buffer.from(name, 'latin1');
	if (!isUtf8(bytes)) {
		fail(form, 'malformed UTF-8');
		return undefined;
	}

	const {text, errors, code} = run(converters, bytes);
	if (U_FAILURE(code) || errors !== 0 || text === '') {
		fail(formOfFailure, errors === 0 ? converters.icu.u_errorName(code) : errorNames(errors));
		return undefined;
	}

	const reason = complaint(text);
	if (reason !== undefined) {
		fail(form, reason);
		return undefined;
	}

	return text;
}

/* In the order of the bits. Source: unicode/uidna.h, as far as Postfix knows it. */
const errorBits = [
	'EMPTY_LABEL',
	'LABEL_TOO_LONG',
	'DOMAIN_NAME_TOO_LONG',
	'LEADING_HYPHEN',
	'TRAILING_HYPHEN',
	'HYPHEN_3_4',
	'LEADING_COMBINING_MARK',
	'DISALLOWED',
	'PUNYCODE',
	'LABEL_HAS_DOT',
	'INVALID_ACE_LABEL',
	'BIDI',
	'CONTEXTJ',
];

function errorNames(errors: number): string {
	const names = errorBits.filter((_, bit) => (errors & (1 << bit)) !== 0).map(name => `UIDNA_ERROR_${name}`);
	const others = (errors >>> errorBits.length) * 2 ** errorBits.length;
	return [...names, ...(others === 0 ? [] : [`0x${others.toString(16)}`])].join(',');
}

/* Source: DEF_MIDNA_CACHE_SIZE. */
const CACHE_SIZE = 256;

/* A result for each name; those that were not asked for the longest time are dropped. Source: ctable(3). */
class ConversionCache {
	readonly #results = new Map<string, string | undefined>();

	locate(name: string, create: (name: string) => string | undefined): string | undefined {
		const known = this.#results.get(name);
		if (known !== undefined || this.#results.has(name)) {
			this.#results.delete(name);
			this.#results.set(name, known);
			return known;
		}

		const result = create(name);
		for (const oldest of this.#results.keys()) {
			if (this.#results.size < CACHE_SIZE) {
				break;
			}

			this.#results.delete(oldest);
		}

		this.#results.set(name, result);
		return result;
	}

	clear(): void {
		this.#results.clear();
	}
}

const asciiNames = new ConversionCache();
const utf8Names = new ConversionCache();
