/*++
/* NAME
/*	addon 3
/* SUMMARY
/*	load the foreign function interface
/* DESCRIPTION
/*	Loads the native addon of koffi. The package has a JavaScript
/*	loader that searches for the addon that fits the machine. This
/*	module does not use it: a client waits while a process starts, and
/*	the loader took a third of the time of loading all modules. It
/*	only adds deprecated names to the addon.
/*
/*	A process can load the addon both ways, and gets the same object.
/* DIAGNOSTICS
/*	Error: there is no addon for this architecture, or it cannot be
/*	loaded. The system log cannot be used without it.
/* SEE ALSO
/*	process.dlopen(), Node.js
/*--*/

import {createRequire} from 'node:module';
import type koffi from 'koffi';

const machine = `linux_${process.arch}`;
const file = `@koromix/koffi-${machine.replace('_', '-')}/${machine}/koffi.node`;

/** The functions of koffi. */
export const addon: typeof koffi = createRequire(import.meta.filename)(file);
