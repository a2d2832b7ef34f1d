/*++
/* NAME
/*	openssl 3
/* SUMMARY
/*	OpenSSL's libraries, found at run time, and what they export
/* DESCRIPTION
/*	One table of bindings serves every release of OpenSSL from 1.1.1
/*	on. Modules state their functions when they are loaded; the
/*	libraries are loaded at the first call, or when loadOpenssl() says
/*	which. Whoever does not say gets the newest that the system has.
/*
/*	The libraries are loaded `deep`. The Node.js binary contains an
/*	OpenSSL of its own and exports its symbols; without RTLD_DEEPBIND
/*	the two copies mix, and the process dies of it.
/*
/*	No function is called here: OpenSSL initializes itself at the first
/*	call, and tls_config_file has to be applied before that.
/* SEE ALSO
/*	dlopen(3)
/*--*/

import {Panic} from '../../base/errors.ts';
import {addon as koffi} from '../libc/addon.ts';

/** The two libraries of one release. */
type Part = 'libcrypto' | 'libssl';

/** What follows the names of the libraries, newest first. */
const suffixes = ['.so.3', '.so.1.1'] as const;

/** A function of C. The module that states it says what it takes and gives. */
type ForeignFunction = ReturnType<ReturnType<typeof koffi.load>['func']>;

/* A prototype, and the name that the function had before 3.0. */
interface Binding {
	readonly part: Part;
	readonly prototype: string;
	readonly formerly: string | undefined;
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

/* The first that there is. The last one's failure is the one to tell. */
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

/* Undefined when the library does not export it. */
function resolve({part, prototype, formerly}: Omit<Binding, 'bound'>): ForeignFunction | undefined {
	loaded ??= loadAny(suffixes);
	const name = nameIn(prototype);
	for (const candidate of formerly === undefined ? [name] : [name, formerly]) {
		try {
			return loaded[part].func(prototype.replace(`${name}(`, `${candidate}(`));
		} catch {
			/* Not exported: that is the answer. */
		}
	}

	return undefined;
}

/**
 * Loads the libraries of a release.
 *
 * @param libssl - such as `libssl.so.3`; the libcrypto of the same release comes with it.
 * @returns the functions that this program needs and that these libraries do not export.
 * @throws {Error} when there are no such libraries.
 * @throws {Panic} when others have been loaded before.
 */
export function loadOpenssl(libssl: string): readonly string[] {
	if (loaded !== undefined) {
		throw new Panic('OpenSSL was called before it was known which');
	}

	loaded = load(libssl.replace(/^libssl/, ''));
	for (const binding of required) {
		binding.bound ??= resolve(binding);
	}

	return required.filter(({bound}) => bound === undefined).map(({prototype}) => nameIn(prototype));
}

/** One of the libraries, for the modules that state its functions. */
export interface Library {
	/**
	 * A function that every release has.
	 *
	 * @param formerly - its name before 3.0, where that differs.
	 */
	func(prototype: string, formerly?: string): ForeignFunction;
	/** A function that not every release has: its result is asked for, and may be undefined. */
	optional(prototype: string): () => ForeignFunction | undefined;
}

/*
 * What modules call. A hand-off makes a hundred calls, and gathering arguments in a
 * list for each of them costs more than some of the calls: so there is one form per
 * number of arguments.
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

/* How many arguments a function takes; more than there are forms when that differs from call to call. */
function parametersIn(prototype: string): number {
	const list = prototype.slice(prototype.indexOf('(') + 1, -1);
	return list.includes('...') ? Infinity : list === 'void' ? 0 : list.split(',').length;
}

function libraryOf(part: Part): Library {
	return {
		func(prototype: string, formerly?: string): ForeignFunction {
			const binding: Binding = {part, prototype, formerly, bound: undefined};
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
				found ??= {bound: resolve({part, prototype, formerly: undefined})};
				return found.bound;
			};
		},
	};
}

/** libcrypto. */
export const libcrypto: Library = libraryOf('libcrypto');
/** libssl. */
export const libssl: Library = libraryOf('libssl');
