/*++
/* NAME
/*	binding 3
/* SUMMARY
/*	load OpenSSL at run time, and bind its functions
/* DESCRIPTION
/*	One set of bindings serves all releases of OpenSSL since 1.1.1.
/*	The other modules of this directory declare their functions when
/*	they are imported. The libraries are loaded when loadOpenssl() is
/*	called with the name of a release, or else at the first call of a
/*	function: then it is the newest release that is installed.
/*
/*	The libraries are loaded with RTLD_DEEPBIND. The Node.js binary
/*	contains another copy of OpenSSL and exports its symbols. Without
/*	this flag the two copies call each other, and the process crashes.
/*
/*	This module calls no function of OpenSSL. OpenSSL initializes
/*	itself at the first call, and tls_config_file must be applied
/*	before that.
/* SEE ALSO
/*	dlopen(3)
/*--*/

import {Panic} from '../../base/errors.ts';
import {addon as koffi} from '../libc/addon.ts';

/** The two libraries of one release. */
type Part = 'libcrypto' | 'libssl';

/** Suffixes of the file names of the libraries, newest release first. */
const suffixes = ['.so.3', '.so.1.1'] as const;

/** A C function. The module that declares it also declares its type. */
type ForeignFunction = ReturnType<ReturnType<typeof koffi.load>['func']>;

/** A declared function. */
interface Binding {
	readonly part: Part;
	readonly prototype: string;
	/** Name of the function in OpenSSL 1.1.1, if it differs. */
	readonly formerName: string | undefined;
	bound: ForeignFunction | undefined;
}

const required: Binding[] = [];
let loaded: Readonly<Record<Part, ReturnType<typeof koffi.load>>> | undefined;

function load(suffix: string): NonNullable<typeof loaded> {
	return {
		libcrypto: koffi.load(`libcrypto${suffix}`, {deep: true}),
		libssl: koffi.load(`libssl${suffix}`, {deep: true}),
	};
}

/* Loads the first release that is installed. If none is, throws the error of the last one. */
function loadAny([suffix, ...others]: readonly string[]): NonNullable<typeof loaded> {
	try {
		return load(suffix ?? '');
	} catch (reason) {
		if (others.length === 0) {
			throw reason;
		}

		return loadAny(others);
	}
}

function nameIn(prototype: string): string {
	return /(\w+)\(/.exec(prototype)?.[1] ?? '';
}

/* Returns undefined if the library does not export the function. */
function resolve({part, prototype, formerName}: Omit<Binding, 'bound'>): ForeignFunction | undefined {
	loaded ??= loadAny(suffixes);
	const name = nameIn(prototype);
	for (const candidate of formerName === undefined ? [name] : [name, formerName]) {
		try {
			return loaded[part].func(prototype.replace(`${name}(`, `${candidate}(`));
		} catch {
			/* Not exported under this name. */
		}
	}

	return undefined;
}

/**
 * Loads the libraries of a release.
 *
 * @param libssl - such as `libssl.so.3`; the libcrypto of the same release is loaded, too.
 * @returns the names of the functions that every release should have, and that these libraries do not export.
 * @throws {Error} if the libraries cannot be loaded.
 * @throws {Panic} if libraries have been loaded before.
 */
export function loadOpenssl(libssl: string): readonly string[] {
	if (loaded !== undefined) {
		throw new Panic('OpenSSL has been loaded already');
	}

	loaded = load(libssl.replace(/^libssl/, ''));
	for (const binding of required) {
		binding.bound ??= resolve(binding);
	}

	return required.filter(({bound}) => bound === undefined).map(({prototype}) => nameIn(prototype));
}

/** One of the libraries, for the modules that declare its functions. */
export interface Library {
	/**
	 * Declares a function that every release has.
	 *
	 * @param formerName - its name in OpenSSL 1.1.1, if it differs.
	 * @returns a function that panics if the library does not export it.
	 */
	func(prototype: string, formerName?: string): ForeignFunction;
	/** Declares a function that only some releases have. Returns a function that looks it up: undefined if absent. */
	optional(prototype: string): () => ForeignFunction | undefined;
}

/*
 * The function that a module calls, which binds the C function at the first call. A
 * hand-off makes about a hundred calls, and a rest parameter costs more than some of
 * them, so there is one function per number of arguments.
 */
function stub(binding: Binding, bind: () => ForeignFunction): ForeignFunction {
	const call = (...args: unknown[]): unknown => (binding.bound ?? bind())(...args);
	const forms: ReadonlyArray<(...args: never[]) => unknown> = [
		() => (binding.bound ?? bind())(),
		(a: unknown) => (binding.bound ?? bind())(a),
		(a: unknown, b: unknown) => (binding.bound ?? bind())(a, b),
		(a: unknown, b: unknown, c: unknown) => (binding.bound ?? bind())(a, b, c),
		(a: unknown, b: unknown, c: unknown, d: unknown) => (binding.bound ?? bind())(a, b, c, d),
	];
	return (forms[parametersIn(binding.prototype)] ?? call) as ForeignFunction;
}

/* Number of parameters; infinite for a variadic function. */
function parametersIn(prototype: string): number {
	const list = prototype.slice(prototype.indexOf('(') + 1, -1);
	return list.includes('...') ? Infinity : list === 'void' ? 0 : list.split(',').length;
}

function libraryOf(part: Part): Library {
	return {
		func(prototype: string, formerName?: string): ForeignFunction {
			const binding: Binding = {part, prototype, formerName, bound: undefined};
			required.push(binding);
			return stub(binding, () => {
				binding.bound ??= resolve(binding);
				if (binding.bound === undefined) {
					throw new Panic(`OpenSSL has no ${nameIn(prototype)}`);
				}

				return binding.bound;
			});
		},
		optional(prototype: string): () => ForeignFunction | undefined {
			let found: {readonly bound: ForeignFunction | undefined} | undefined;
			return () => {
				found ??= {bound: resolve({part, prototype, formerName: undefined})};
				return found.bound;
			};
		},
	};
}

/** libcrypto. */
export const libcrypto: Library = libraryOf('libcrypto');
/** libssl. */
export const libssl: Library = libraryOf('libssl');
