/*++
/* NAME
/*	addon 3
/* SUMMARY
/*	the foreign function interface, without its loader
/* DESCRIPTION
/*	koffi is a native addon, and a loader in JavaScript that looks for
/*	one that fits the machine. Here is known which one that is, and a
/*	client waits while a process starts: the loader took a third of
/*	what all modules together took. What it adds to the addon are
/*	names that are deprecated.
/*
/*	Others may load the same addon by its loader: they get the same.
/* DIAGNOSTICS
/*	Error: there is no addon for this kind of machine, or it cannot be
/*	loaded. Nothing can be logged without it.
/* SEE ALSO
/*	process.dlopen(), Node.js
/*--*/

import {createRequire} from 'node:module';
import type koffi from 'koffi';

const machine = `linux_${process.arch}`;
const file = `@koromix/koffi-${machine.replace('_', '-')}/${machine}/koffi.node`;

/** The functions of koffi. */
export const addon: typeof koffi = createRequire(import.meta.filename)(file);
