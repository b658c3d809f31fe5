"""Words that tell what a variable is: of standard names, long names, descriptions and names alike.

Rules rather than a list: they were checked over the CF standard name table (version 93), by the words that its names
are built of, and serve free text as well. Texts are read as words with ``_`` between them.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache


class Word(Enum):
    """The meaning of the words of a text, before units are looked at."""

    SPREAD = "a spread, a square or a count"
    DIFFERENCE = "a difference, which may be negative"
    DIRECTION = "a direction"
    FLAG = "a flag"
    CLASS = "a class"
    LABEL = "a label, if its values are integers"
    SHARE = "a fraction, if its units allow"
    COVER = "a cover, if its units allow"
    CERTAIN = "a quantity of 0 or more, whatever else is named"
    SIGNED = "a quantity with a sign"
    AMOUNT = "a quantity of 0 or more"


PLACES = {
    "latitude": re.compile(r"(x|t|u|v|f|q|c|g|geo|grid)?lat(itude)?s?[muvtc]?\d*|latixy|gphi[tuvf]"),
    "longitude": re.compile(r"(x|t|u|v|f|q|c|g|geo|grid)?lon(g|gitude)?s?[muvtc]?\d*|longxy|glam[tuvf]"),
}
"""Words of names of places: `lat`, `XLAT_M`, `nav_lat`, `TLAT`, `geolat_c`, `gphit`."""

Y_NAMES = re.compile(
    r"(y|lat|latitude|rlat|nlat|j|nj|yc|rows?|south_north|grid_latitude|northing|eta_rho|number_of_lines)\d*"
)
"""Names of dimensions along which rows follow each other."""

X_NAMES = re.compile(
    r"(x|lon|longitude|rlon|nlon|i|ni|xc|columns?|west_east|grid_longitude|easting|xi_rho|pixels_per_line)\d*"
)
"""Names of dimensions along which columns do."""

BOUNDARIES = re.compile(r"bnds?|bounds?|boundar(y|ies)|vert(ex|ices)?|corners?|edges")
"""Words of names of boundaries and corners of cells."""


_NO_PLACE = {"delta", "diff", "difference", "error", "err", "std", "offset", "shift", "uncertainty"}
"""Words beside them with which names mean no places."""


def place_named(name: str) -> str | None:
    """Tell whether a name is that of latitudes or longitudes, or of their boundaries, and of which.

    Examples
    --------
    >>> place_named("XLAT_M"), place_named("vertices_longitude"), place_named("delta_lat"), place_named("plateau")
    ('latitude', 'longitude', None, None)
    """
    words = name.lower().split("_")
    if not _NO_PLACE.isdisjoint(words):
        return None
    return next((which for which, known in PLACES.items() if any(map(known.fullmatch, words))), None)


def is_boundary(name: str) -> bool:
    """Tell whether a name is that of boundaries or corners."""
    return any(map(BOUNDARIES.fullmatch, name.lower().split("_")))


def as_words(text: str) -> str:
    """A text as lower-case words with ``_`` between them.

    Examples
    --------
    >>> as_words("Surface short-wave (solar) radiation"), as_words("windDirection")
    ('surface_short_wave_solar_radiation', 'wind_direction')
    """
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", text).lower()
    return re.sub(r"[^a-z0-9.]+|(?<!\d)\.+|\.+(?!\d)", "_", words).replace("__", "_").strip("_")


def _words(patterns: str) -> re.Pattern[str]:
    """An expression that finds one of some phrases: ``*`` stands for letters, `` .. `` for words or none."""
    phrases = [phrase.strip() for phrase in re.split(r"[,\n]", patterns) if phrase.strip()]
    expressions = [
        phrase.replace("*", "[a-z0-9]*").replace(" .. ", "_(?:[a-z0-9._]*_)?").replace(" ", "_") for phrase in phrases
    ]
    return re.compile(rf"(?:^|_)(?:{'|'.join(expressions)})(?=_|$)")


SPREADS = _words("""
    standard deviation*, standard error*, std, std dev, stdev, stddev, sd of, variance, rms*, root mean square*
    mean square*, square of, squared, spread, uncertainty, random error, absolute error, error ellipse, quantile range
    number of, count, counts, count of, nobs, magnitude, amplitude, dispersion
""")
"""Words that make any quantity 0 or more."""

SOURCES = re.compile(
    r"^(?!.*(?:^|_)net_).*(?:"
    r"^tendency_.*due_to_(?:[a-z]+_)?emission"
    r"|^minus_tendency_.*due_to_(?:dry_|wet_|gravitational_)?(?:deposition|settling|sedimentation)"
    r"|_flux_.*due_to_(?:emission|.*respiration|.*(?<!excluding_)fires?(?:_|$)|.*harvest|.*grazing)"
    r"|_flux_into_(?:soil|litter|forestry|sea_water_from_rivers)(?!.*_and_surface)"
    r"|^depth_(?:at|of|below)_"
    r"|^volume_(?:absorption|extinction|scattering|backwards_scattering)_)"
)
"""Standard names of sources, sinks and coefficients of 0 or more that hold a word with a sign."""

DIFFERENCES = _words("""
    anom, anomal*, ano, of normal, isotope ratio, radial, vertical wind, along x, along y
    difference*, diff, change, changes, delta, trend, trends, tendency, tend, bias, biases
    residual(?!_frac), residuals, increment*, correction*, departure*, deviation*, perturbation*, pert, error, errors
    minus, net, imbalance, balance, budget, adjustment*, offset, feedback, forcing*, effect, effects, nudging
    relaxation, advection, convergence, divergence, gradient*, derivative, curl, acceleration
    log, log2, log10, ln, logarithm*, skewness, correlation*, covariance, standardi*, normali*, detrended, deseasonali*
    eof*, principal component, z score, kernel, singular vector, unwrapped, dtime, efficiency
    extreme forecast, speed index, gust index, shear index
    eastward, northward, westward, southward, zonal*, meridional*, x displacement, y displacement
    u wind, v wind, x wind, y wind
""")
"""Words by which any quantity may be negative, a direction or a fraction too."""

DIRECTIONS = _words("""
    direction, directions, dir, wdir, wind dir, winddir, azi, *azimuth*, heading, bearing, course, aspect, orientation
    angle of rotation*, rotation angle, angle between .. east, angle between .. north, angle of sub gridscale orography
    *phase
""")

FLAGS = _words("""
    *flag, *flags, flagged, qc, quality control, *mask, masks, categorical
""")

CLASSES = _words("""
    identifier, identifiers, index of deepest, hydrologic* soil group, continent, igbp
    type, types, category, categories, *categ, class, classes, classification, landcover, land cover, landuse
    land use, lulc, lu index, lccs, lithology, biome, biomes, ecoregion*, koppen, koeppen, dominant cat*, dominant veg*
    dominant soil, cloud phase, thermodynamic phase
""")

LABELS = _words("""
    id, ids, cellid, identifier, identification, code, codes, label, labels, index, zone, zones, region, regions, basin
    basins, country, countries, province, provinces, district, districts, catchment, catchments, watershed, watersheds
    cluster, clusters, pft, species, quality, qa*, status, *year, mode, mask, bitmask, scl, station, tile, sector
    source, flow direction, flowdirection, flow dir, flowdir, fdir, nlcd*, corine*, clc*, worldcover*, globcover*
    mcd12*, landform*, geology, soil order, regime, stratum, phase, confidence level, segment*, object*
""")

CONTINUOUS = _words("""
    elevation, height, altitude, dem, dsm, dtm, reflectance, radiance, temperature, backscatter
    vegetation index, ndvi, evi, savi, ndwi, ndsi, area index, uv index, weather index, fire .. index, heat index
    drought index, standardi* .. index, wetness index, moisture index, lifted index, refractive index, comfort index
    spread index, buildup index, burning index, precipitation index, snow index, water index, chill index, stress index
    humidity index
""")
"""Indices that are measures, in integers too."""

SHARES = _words("""
    *frac, frac*, percent, percents, percentage*, pct
    probab*, proportion*, likelihood, relative frequency, occurrence, of at least, exceed*
    albedo*, emissivity, transmissi*, transmittance, hemispherical reflectance, limitation, porosity, saturation degree
    reliability, confidence, certainty, fpar, fapar, fvc, moisture availability, available moisture
    cloud cover, cloud area, cloud amount, cloudiness, total cloud, sea ice concentration, ice concentration, ice conc
    sic, siconc
""")

COVERS = _words("""
    cover, coverage, clouds
""")

CONCENTRATION = re.compile(
    r"(?:mole|molar)_fraction|(?:mass|volume)_fraction_of_.*_in_(?!soil|surface_snow|medium)|^concentration_of"
)
"""Fractions of one thing in much of another: concentrations."""

CERTAIN = _words("""
    significant height, significant .. height, wave height, wave .. height, swell height, drift speed, water speed
    convective available potential energy, kinetic energy, lightning potential index, vapo* pressure, partial pressure
    friction* velocity, deposition velocity, terminal velocity, fall velocity, river channel, from rivers(?!_and)
    snow depth, snow thickness, snow water equivalent, depth below *, floor depth, boundary layer height
    pbl height, pblh, boundary layer thickness, mixed layer thickness, mixed layer depth, layer thickness, layer depth
    cloud base height, roughness length, optical thickness, optical depth, canopy height, tree height, building height
    vegetation height, water equivalent thickness, diffusivity, diffusion coefficient, viscosity, resistance
    conductivity, drag coefficient*, concentration, mole fraction of, size distribution, stomatal uptake
    compressive strength, shear strength, spell length, temperature excess, temperature deficit, heat capacity, lifetime
    downwelling, upwelling long*, upwelling short*
    upwelling radi*, downward short*, downward long*, downward solar, downward thermal, downward uv, downward radiat*
    upward short*, upward long*, outgoing long*, outgoing short*, uv .. flux, spectral flux, *fire flux
    leaf area index, uv index, ultraviolet index*, fire weather index, fire danger index, burning index, spread index
    buildup index, byram drought index, drought factor
""")
"""Words of quantities that are 0 or more even where a word with a sign stands beside them."""

SIGNED = _words("""
    component, velocity, velocities, vector, ice motion, upward air, vertical motion, ascent, omega, lagrangian
    vorticity, displacement, drift, ekman, ageostrophic, geostrophic, stream function, streamfunction
    velocity potential, stress, stresses, force, torque, momentum, helicity, buoyancy, stability, obukhov*, richardson*
    bowen ratio, backscattering strength, target strength, angstrom exponent, refractivity, asymmetry, cosine, sine
    charge, ndvi, evi, savi, ndwi, ndsi, index, soi, oscillation, coriolis, electric field, magnetic field, gravity
    temperature*, temp, theta, virtual, dew point, dewpoint, heat, enthalpy, energy content, total energy, cooling
    warming, altitude, elevation, orography, topography, terrain, geopotential, geoid, above geoid, above ellipsoid
    height of, surface height, sea level, water level, tide, freeboard, slope, convexity, curvature, deflection
    air pressure, surface pressure, inhibition, ph, alkalinity, utilization, isotope delta
    evap*, transpir*, sublimation, condensation, latent, sensible, exchange, transfer, transport, export, advective
    vapo* flux, moisture flux, turbulent flux, surface flux, upward .. flux, downward .. flux, flux into, flux out of
    salt flux, uptake, surface .. mass flux, surface .. mole flux, upwelling velocity, npp, nep, nee, nbp, logit
    zenith*, solar elevation, viewing angle, incidence angle, angle of incidence, before 1950, latitude, longitude
    time since
""")

AMOUNTS = _words("""
    precip*, prcp, rain*, snow*, hail*, graupel, drizzle, sleet, shower*, dew, fog, throughfall, beaufort
    runoff, drainage, discharge, streamflow, river, infiltration excess, melt*, calving, surface water, outgoing water
    soil moisture, soil water, soil liquid*, soil wetness, moisture, water content, water vapo*, pressure deficit
    precipitable water, total column, column water, mixing ratio, humidity, qv, cloud water, cloud ice, cloud liquid
    liquid water, ice water, canopy .. water, canopy water, skin reservoir content, water path, water equivalent
    depth, bathymetry, bathymetric, thickness, draft, draught, salinity, turbidity
    concentration*, density, densities, content, contents, amount, amounts, load, burden, fugacity
    chlorophyll*, chl, chlor a, nitrate, phosphate, silicate, oxygen, ozone, carbon, methane, nitrogen, sulfate
    sulphate, dioxide, monoxide, formaldehyde, aerosol*, dust, smoke, particulate matter, pm2.5, pm25, pm2p5, pm10
    biomass, incoming, outgoing, insolation, irradiance, radiance, radiation, shortwave, longwave, short wave, long wave
    radiant exit*, photosynthetic*, photolysis, par, reflectance, reflectivity factor, backscatter*, scattering
    extinction, absorption, absorptance, attenuation, scatter, transparency, luminance, illuminance, brightness
    speed, gust, gusts, hs, swh, hsig, layer height, base height, period, duration, age, residence time, frequency
    wave number, wavenumber, (?<!central )wavelength, width, length, radius, diameter, size, distance, visibility
    spacing, perimeter, volume, mass, area, lai, roughness*, charnock
    cape, turbulent kinetic, turbulence kinetic, tke, dissipation, wave energy, lightning*, flash*, spectral density
    dose, dosage, radioactiv*, activity, emission*, deposition, sedimentation flux, sinking .. flux, respiration
    gross primary, productivity, production, grazing, mortality, consumption, litter, fuel load
    conductance, capacity, permeability, power, intensity, ratio, fraction*, percentage, porosity, clay, silt, sand
    population, incidence rate, prevalence, infection*, cases, bite*, number, abundance, richness, night lights
    nighttime lights, income, gdp, yield, cost, risk, sunshine*, days, hours of, uvi
    burned area, burnt area, frp, erosivity, ice extent
""")

PRECIPITATION = re.compile(r"(?:^|_)(?:precip|prcp|rain|shower)")

OTHER_WATER = re.compile(
    r"precipitable|evap|transpir|runoff|discharge|recharge|infiltrat|irrigat|(?:^|_)(?:minus|due_to|rain_?fed)"
)
"""Water besides precipitation, or a balance with it, whose words may name precipitation too."""

NO_PRECIPITATION = re.compile(rf"{OTHER_WATER.pattern}|snow|melt|flow|dew|flux")
"""The same, and words that may stand beside precipitation, but without its name mean other water."""

_ORDER = (
    (Word.SPREAD, SPREADS),
    (Word.CERTAIN, SOURCES),
    (Word.DIFFERENCE, DIFFERENCES),
    (Word.DIRECTION, DIRECTIONS),
    (Word.FLAG, FLAGS),
    (Word.CLASS, CLASSES),
    (Word.LABEL, LABELS),
    (Word.SHARE, SHARES),
    (Word.COVER, COVERS),
    (Word.CERTAIN, CERTAIN),
    (Word.SIGNED, SIGNED),
    (Word.AMOUNT, AMOUNTS),
)

_CAUSES = re.compile(
    r"(?:land_use|land_cover)_change|climate_change|not_log_transformed|_as_a_result_of_.*|bias_(?:adjust|correct)ed"
)
"""Causes and assurances, which are no change of the quantity itself, and which make no difference of it."""


@lru_cache(maxsize=4096)
def words_of(text: str) -> tuple[Word, ...]:
    """Return what the words of a text mean, in the order of precedence.

    Examples
    --------
    >>> [word.name for word in words_of(as_words("Precipitation anomaly"))]
    ['DIFFERENCE', 'AMOUNT']
    """
    text = _CAUSES.sub("", text)
    text = text.replace("log10_size_interval_based_", "")  # of the interval, not of the number
    text = text.replace("variance_spectral_density", "spectral_density")  # no variance of what stands before it
    text = text.replace("square_of_brunt_vaisala_frequency", "stability")  # negative where it is unstable
    return tuple(dict.fromkeys(word for word, pattern in _ORDER if pattern.search(text)))
