def job(settings):
    return "approved job, " + settings
