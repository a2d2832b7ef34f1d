/*++
/* NAME
/*	load-compiled 3
/* SUMMARY
/*	start of the program, with what V8 has made of it before
/* DESCRIPTION
/*	A client waits while a process starts. So the program has been
/*	compiled where it was built, and the result lies beside it: one
/*	with machine code and one without, because V8 takes only what was
/*	made with the same settings.
/*
/*	V8 refuses what comes from another release, other settings or
/*	another program, and then compiles what it needs. Nothing is ever
/*	written here: who could change these files could as well change
/*	the program, and all of them belong to root.
/* SEE ALSO
/*	compile(3)
/*--*/

import {readFileSync} from 'node:fs';
import {createRequire} from 'node:module';
import {Script} from 'node:vm';

const home = import.meta.dirname;
const program = `${home}/program.js`;
/* One byte per character: there are no others in it, and V8 need not look. */
const source = readFileSync(program, 'latin1');
const cachedData = compiled();
const script = new Script(source, {filename: program, ...(cachedData === undefined ? {} : {cachedData})});
script.runInThisContext()(createRequire(program), program, home);

function compiled(): Buffer | undefined {
	/* Where V8 makes no machine code it offers no WebAssembly either. */
	const file = `${home}/program.${'WebAssembly' in globalThis ? 'jit' : 'jitless'}`;
	try {
		return readFileSync(file);
	} catch {
		return undefined;
	}
}
