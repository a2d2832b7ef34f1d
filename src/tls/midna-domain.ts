/*++
/* NAME
/*	midna-domain 3
/* SUMMARY
/*	conversion of domain names between ASCII and UTF-8
/* DESCRIPTION
/*	Converts names as Postfix does: with UTS #46, by the ICU library
/*	that Postfix is linked with, with the default options of that
/*	library. The result must be a valid hostname. Results and failures
/*	are cached: a name that cannot be converted is logged once, and
/*	again only after it has left the cache.
/*
/*	A Postfix that is not linked with ICU was built without EAI, and
/*	does not convert names.
/*
/*	Names have one character per byte, as on the wire.
/* DIAGNOSTICS
/*	A name that cannot be converted is logged as a warning with the
/*	text of stock.
/* SEE ALSO
/*	icu(3), hostname(3)
/*	postfix src/util/midna_domain.c
/*--*/

import {isUtf8} from 'node:buffer';
import {Lru} from '../base/lru.ts';
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

/* Source: DEF_MIDNA_CACHE_SIZE, postfix src/util/midna_domain.h. */
const CACHE_SIZE = 256;

/* Converted names; an empty text is a failure. Source: ctable(3), postfix src/util/ctable.c. */
type ConversionCache = Lru<string, string>;

/* A loaded library. Converters are opened on first use. */
interface Converters {
	readonly icu: Icu;
	readonly asciiConverter: () => Uts46;
	readonly utf8Converter: () => Uts46;
	readonly asciiNames: ConversionCache;
	readonly utf8Names: ConversionCache;
}

let converters: Converters | undefined;

/**
 * Loads the library and turns on the conversion of names for the lifetime of the process.
 *
 * @param library - such as `libicuuc.so.72`.
 * @param transitional - whether to convert as IDNA2003 does: enable_idna2003_compatibility.
 * @throws {Error} if the library cannot be loaded.
 */
export function loadIcu(library: string, transitional: boolean): void {
	const icu = new Icu(library);
	const openOnce = (options: number) => {
		let converter: Uts46 | undefined;
		return () => (converter ??= icu.uidna_openUTS46(transitional ? icu.UIDNA_DEFAULT : options));
	};
	converters = {
		icu,
		asciiConverter: openOnce(UIDNA_NONTRANSITIONAL_TO_ASCII),
		utf8Converter: openOnce(UIDNA_NONTRANSITIONAL_TO_UNICODE),
		asciiNames: new Lru(CACHE_SIZE),
		utf8Names: new Lru(CACHE_SIZE),
	};
}

/** Makes the library load its data, which is not possible in the jail. Source: midna_domain_pre_chroot(). */
export function prepareIcu(): void {
	const converter = converters?.asciiConverter();
	if (converters !== undefined && converter !== undefined && U_FAILURE(converter.code)) {
		warning(`ICU library initialization failed: ${converters.icu.u_errorName(converter.code)}`);
	}
}

/** Whether names are converted, as in a Postfix that was built with EAI. */
export function hasEai(): boolean {
	return converters !== undefined;
}

/** Whether a text consists of ASCII bytes. False for an empty text, as in Postfix. Source: allascii(). */
export function isAscii(text: string): boolean {
	// oxlint-disable-next-line no-control-regex
	return /^[\0-\u007F]+$/.test(text);
}

/** The ASCII form of a name; undefined without EAI and on failure. Source: midna_domain_to_ascii(). */
export function domainToAscii(name: string): string | undefined {
	return converters && cached(converters.asciiNames, name, toAscii, converters);
}

/** The UTF-8 form of a name; undefined without EAI and on failure. Source: midna_domain_to_utf8(). */
export function domainToUtf8(name: string): string | undefined {
	return converters && cached(converters.utf8Names, name, toUtf8, converters);
}

function cached(
	cache: ConversionCache,
	name: string,
	convertName: (name: string, from: Converters) => string | undefined,
	from: Converters,
): string | undefined {
	let result = cache.get(name);
	if (result === undefined) {
		result = convertName(name, from) ?? '';
		cache.set(name, result);
	}

	return result === '' ? undefined : result;
}

function toAscii(name: string, {icu, asciiConverter}: Converters): string | undefined {
	return convert(icu, name, {
		label: 'midna_domain_to_ascii_create',
		form: 'ASCII',
		formInLibraryError: 'ASCII',
		run: bytes => icu.uidna_nameToASCII_UTF8(asciiConverter(), bytes),
		validate: converted => (isHostname(converted) ? undefined : 'malformed ASCII label(s)'),
	});
}

function toUtf8(name: string, {icu, utf8Converter}: Converters): string | undefined {
	const converted = convert(icu, name, {
		label: 'midna_domain_to_utf8_create',
		form: 'UTF-8',
		formInLibraryError: 'UTF8',
		run: bytes => icu.uidna_nameToUnicodeUTF8(utf8Converter(), bytes),
		validate: () => undefined,
	});
	/* The name must have an ASCII form: this excludes names that are too long. */
	return converted === undefined || domainToAscii(converted) === undefined ? undefined : converted;
}

/* A direction of conversion, with its names in log messages. */
interface Direction {
	/** The function of Postfix that does the conversion. */
	readonly label: string;
	/** The form of the result. */
	readonly form: string;
	/** The form of the result in messages about errors of the library: Postfix writes UTF-8 in two ways. */
	readonly formInLibraryError: string;
	readonly run: (bytes: Uint8Array) => Converted;
	/** Returns the error of a converted name; undefined for a valid one. */
	readonly validate: (converted: string) => string | undefined;
}

/* Converts a name; undefined on failure, which is logged. */
function convert(
	icu: Icu,
	name: string,
	{label, form, formInLibraryError, run, validate}: Direction,
): string | undefined {
	const logFailure = (loggedForm: string, reason: string): void =>
		warning(`${label}: Problem translating domain "${name.slice(0, 100)}" to ${loggedForm} form: ${reason}`);
	const bytes = Buffer.from(name, 'latin1');
	if (!isUtf8(bytes)) {
		logFailure(form, 'malformed UTF-8');
		return undefined;
	}

	const {text, errors, code} = run(bytes);
	if (U_FAILURE(code) || errors !== 0 || text === '') {
		logFailure(formInLibraryError, errors === 0 ? icu.u_errorName(code) : errorNames(errors));
		return undefined;
	}

	const error = validate(text);
	if (error !== undefined) {
		logFailure(form, error);
		return undefined;
	}

	return text;
}

/* In the order of the bits; only those that Postfix logs by name. Source: unicode/uidna.h. */
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
