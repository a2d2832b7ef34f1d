/*++
/* NAME
/*	load-compiled 3
/* SUMMARY
/*	starts the program with the code cache of V8
/* DESCRIPTION
/*	A client waits while a process starts. Therefore postfix/build
/*	compiles the program. There are two code caches, with and without
/*	machine code, because V8 accepts only a cache that was made with
/*	the same settings.
/*
/*	V8 rejects a cache from another release, other settings or another
/*	program, and compiles the functions that it needs. No cache is
/*	written here. All files belong to root, like the program.
/* SEE ALSO
/*	compile(3)
/*--*/

import {readFileSync} from 'node:fs';
import {createRequire} from 'node:module';
import {Script} from 'node:vm';

const home = import.meta.dirname;
const program = `${home}/program.js`;
/* The program is ASCII. V8 does not need to decode it. */
const source = readFileSync(program, 'latin1');
const cachedData = compiled();
const script = new Script(source, {filename: program, ...(cachedData === undefined ? {} : {cachedData})});
script.runInThisContext()(createRequire(program), program, home);

function compiled(): Buffer | undefined {
	/* Without the JIT compiler V8 has no WebAssembly. */
	const file = `${home}/program.${'WebAssembly' in globalThis ? 'jit' : 'jitless'}`;
	try {
		return readFileSync(file);
	} catch {
		return undefined;
	}
}
