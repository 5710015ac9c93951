import { z } from 'zod';

/** The key `log` of a program's configuration. */
export const LOG_SETTINGS = z
  .strictObject({
    level: z
      .enum(['trace', 'debug', 'info', 'warn', 'error', 'silent'], 'must be trace, debug, info, warn, error or silent')
      .default('info')
      .meta({ description: 'Least important level that is written.' }),
    format: z
      .enum(['json', 'text'], 'must be json or text')
      .default('text')
      .meta({ description: 'One JSON object a line, or text.' }),
  })
  .prefault({})
  .meta({ description: 'Log on stderr.' });
