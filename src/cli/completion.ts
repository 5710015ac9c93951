import tab from '@bomb.sh/tab/commander';
import type { Command } from 'commander';

/** Adds `lacre completion bash|zsh|fish`, which prints a script for the shell, and the hidden command that it calls. */
export function addCompletion(program: Command): void {
  tab(program, { completionCommandName: 'completion' });
}
